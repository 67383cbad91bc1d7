"""What membership says and hears."""
