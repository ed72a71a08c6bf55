"""What small networks learn in each precision, and the tables of docs/training_results.md."""
