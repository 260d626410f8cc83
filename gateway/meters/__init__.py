"""Meters over Modbus and MQTT."""
