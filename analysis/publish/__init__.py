"""What is said of runs to others, from a finished report: verdicts as records, and the plan of the next evaluation."""
