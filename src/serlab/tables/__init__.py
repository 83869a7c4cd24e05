"""Tables: reading any, naming their columns and clips, and the prediction table."""
