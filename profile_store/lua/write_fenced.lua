-- One key of a write-ahead entry. Run again, or late, it changes nothing: every value stands behind the fence of its entry.
--
-- KEYS  the key
-- ARGV  fence, then
--       'document', value   refused when the stored one has the same guard and an offset that is not smaller, or another
--                           guard and a later fence; one of this very guard and fence is this value, written by another hand
--       'plain', value      kept unless the stored one has a later fence
--       'fields', name, value, name, value...   the same for each field of a hash
-- Stored is `<fence> <value>`; a document's value begins with `<offset> <guard>\n`.
-- Returns 0 for a refused document, else 1.

local HEADER_BYTES = 174
local FENCE_BYTES = 13

local key, fence, what = KEYS[1], ARGV[1], ARGV[2]

if what == 'fields' then
  for arg = 3, #ARGV, 2 do
    local stored = redis.call('HGET', key, ARGV[arg])
    if not stored or string.sub(stored, 1, FENCE_BYTES) <= fence then
      redis.call('HSET', key, ARGV[arg], fence .. ' ' .. ARGV[arg + 1])
    end
  end
  return 1
end

if what == 'plain' then
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
