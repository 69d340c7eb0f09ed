"""How weights are packed, format by format: read from files and from modules, never written."""
