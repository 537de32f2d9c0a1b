-- The profiles that are in a segment according to their latest transition, with what they are known by, the newest first.
SELECT m.profile_id, toUnixTimestamp64Milli(m.since), m.cause, p.identifiers, p.traits
FROM memberships AS m LEFT JOIN profiles AS p ON p.profile_id = m.profile_id
WHERE m.segment = {segment:String}
ORDER BY m.since DESC, m.profile_id
