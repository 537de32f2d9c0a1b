-- The profiles that are in a segment according to their latest transition.
SELECT profile_id FROM memberships WHERE segment = {segment:String}
