"""What several scripts use: the program, a cluster of its nodes, their events, waiting, installing,
drawing."""
