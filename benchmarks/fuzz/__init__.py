"""Try broken and hostile inputs at every door of the package; every case must end in an answer or in clear lines."""
