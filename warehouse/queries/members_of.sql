-- The profiles that are in a segment by their last transition.
SELECT profile_id FROM memberships WHERE segment = {segment:String}
