"""What benchmark says and hears."""
