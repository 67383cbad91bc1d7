"""Keeping the platform: backup, restore, and what an upgrade will do."""
