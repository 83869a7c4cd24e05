"""Tables: reading files, finding columns and clips by name, and the prediction table."""
