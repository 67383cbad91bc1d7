"""What events says and hears."""
