-- Write one key of a write-ahead entry. Executed again, or late, it changes nothing: every value is stored with the fence of
-- its entry, and a value with a later fence is left alone.
--
-- KEYS  the key
-- ARGV  the entry's fence, then
--       'document', value           Refused when the stored document has the same guard and an offset that is not smaller, or
--                                   another guard and a later fence. The same guard and the same fence mean that another worker
--                                   has written this very value already.
--       'plain', value              Ignored when the stored value has a later fence.
--       'fields', name, value, ...  The same for each field of a hash.
--
-- Stored is `<fence> <value>`. The value of a document begins with its guard, `<offset> <guard>\n`.
-- Returns 0 for a refused document, else 1.

local HEADER_BYTES = 174  -- as in save.lua, and the fence with a space before it
local FENCE_BYTES = 13

local key, fence, action = KEYS[1], ARGV[1], ARGV[2]

if action == 'fields' then
  for arg = 3, #ARGV, 2 do
    local stored = redis.call('HGET', key, ARGV[arg])
    if not stored or string.sub(stored, 1, FENCE_BYTES) <= fence then
      redis.call('HSET', key, ARGV[arg], fence .. ' ' .. ARGV[arg + 1])
    end
  end
  return 1
end

if action == 'plain' then
  if redis.call('GETRANGE', key, 0, FENCE_BYTES - 1) <= fence then
    redis.call('SET', key, fence .. ' ' .. ARGV[3])
  end
  return 1
end

local offset, guard = string.match(ARGV[3], '^(%-?%d+) ([^\n]*)\n')
local stored = redis.call('GETRANGE', key, 0, HEADER_BYTES - 1)
local stored_fence, stored_offset, stored_guard = string.match(stored, '^(%d+) (%-?%d+) ([^\n]*)\n')
if stored_guard == guard then
  if stored_fence == fence then
    return 1
  elseif tonumber(stored_offset) >= tonumber(offset) then
    return 0
  end
elseif stored_fence and stored_fence > fence then
  return 0
end
redis.call('SET', key, fence .. ' ' .. ARGV[3])
return 1
