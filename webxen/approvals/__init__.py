"""Wishes waiting for a yes."""
