-- For every profile the version of the member list that it was evaluated at last, and whether views show it.
SELECT profile_id, label_version, merged_into = '' AND notEmpty(members) AS shown FROM profile_store FINAL
