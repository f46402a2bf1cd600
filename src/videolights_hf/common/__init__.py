"""What every room uses: whole files, JSON Lines, batches, processes, ids and messages."""
