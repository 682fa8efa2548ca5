"""What every layer may use: files written whole, text for people."""
