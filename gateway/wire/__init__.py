"""The one vocabulary that gateway and cloud share. Pure."""
