-- The version of the member list that every profile was last evaluated at, and whether it is shown.
SELECT profile_id, label_version, merged_into = '' AND notEmpty(members) AS shown FROM profile_store FINAL
