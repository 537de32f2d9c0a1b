-- The largest version that any label has had.
SELECT max(version) FROM labels
