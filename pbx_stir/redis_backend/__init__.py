"""What several processes or machines share, kept on Redis or Valkey: entries, counters, uses."""
