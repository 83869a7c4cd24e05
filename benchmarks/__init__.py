"""What users wait for, side by side with what they would use instead, as ratios from one run."""
