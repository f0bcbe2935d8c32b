"""What commands and programs call."""
