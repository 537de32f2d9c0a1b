-- Everything that one operation decided.
SELECT action, kind, a, b, `on`, at_ms, `of`, `by`, reason
FROM decision_store FINAL
WHERE operation = {operation:String}
ORDER BY kind, a, b
