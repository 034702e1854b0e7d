"""One file per exercise: the question, a solution between two marks, and mistakes that are often made."""
