"""One question per module, asked of sweep results: `compute()` gives labelled data, `figure()` draws it."""
