"""Programs that measure: those of peers import nothing of this project."""
