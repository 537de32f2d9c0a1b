"""What every process needs: settings, clock, errors, logs, metrics, the bus."""
