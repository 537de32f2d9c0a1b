-- The profiles that contribute to a household.
SELECT DISTINCT profile_id FROM contribution_store FINAL WHERE present AND kind = 'household'
