"""The `onefold` command and the services behind it: identity, segments, definitions, imports, quarantine and rebuilds."""
