"""Who computes the jobs of a study: this process, processes on this machine, or actors on a Ray cluster."""
