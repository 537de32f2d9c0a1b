-- The largest version of any label.
SELECT max(version) FROM labels
