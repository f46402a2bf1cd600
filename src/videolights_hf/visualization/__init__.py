"""Pictures (needs the `viz` extra): functions that take arrays or results and return matplotlib figures."""
