"""What was ordered for a task instance, so that no retry pays twice."""
