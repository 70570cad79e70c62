"""Who computes the jobs of a study: this process (`here`), or a worker pool, of processes (`local`) or Ray actors (`ray`).

`pool` says what a worker pool is, `share` gives its workers their jobs, `limits` says how long each may take, `choose` makes the
pool that `--workers` names.
"""
