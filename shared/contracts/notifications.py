"""What notifications says and hears."""
