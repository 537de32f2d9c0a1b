-- As before, but a touchpoint that names no source is of the source `server`.
CREATE OR REPLACE VIEW {database}.quarantined_events AS
WITH
    tryBase64Decode(raw) AS said,
    JSONExtractString(said, 'type') AS kind,
    JSONExtractString(said, 'event') AS called,
    JSONExtractString(said, 'source') AS named
SELECT
    if(source != '', toString(source), if(named != '', substringUTF8(named, 1, 128), 'server')) AS source,
    substringUTF8(multiIf(called != '', called, kind = 'track', JSONExtractString(said, 'name'), kind != '', concat('$', kind), ''),
        1, 512) AS event,
    id, stage, reason, detail, at
FROM {database}.quarantine FINAL
WHERE counted;
