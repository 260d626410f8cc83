"""Data, no logic: meter maps, MQTT presets, schemas and the files of a Raspberry Pi."""
