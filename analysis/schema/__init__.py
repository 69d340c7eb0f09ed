"""What tables and rows hold."""
