"""What real and stand-in xl must both do."""
