"""The pages members and board see."""
