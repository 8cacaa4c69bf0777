"""`lattgnn campaign`: a grid of runs, fits or whole chains as tasks on many processes."""
