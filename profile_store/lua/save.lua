-- Apply the writes of one slice and move its position, or write nothing when the position or the fence is not the expected one.
--
-- KEYS  position, fence of the partition's writers, then one key for each write in the order of ARGV (a key may come twice)
-- ARGV  expected position ('' for none), new position, expected fence ('' to skip the check),
--       the numbers of documents, plain values, hash fields and timers that follow,
--       then for a document: header and data; for a plain value: the value; for a hash field: name, value;
--       for a timer: member, due time in ms ('' clears the timer)
--
-- A document begins with its guard, `<offset> <guard>\n`. It is refused when the stored document has the same guard and an offset
-- that is not smaller. Under another guard (the number of partitions changed) it is accepted, because offsets of two partitions
-- cannot be compared.
--
-- Returns {1, refused...}, with refused documents as indices from 0; {0} when the position or the fence is not the expected one.

local HEADER_BYTES = 160  -- at least 20 digits, a space, the longest guard (128 bytes) and the line break

if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return {0}
end
if ARGV[3] ~= '' and (redis.call('GET', KEYS[2]) or '0') ~= ARGV[3] then
  return {0}
end

local key, arg = 3, 8
local answer = {1}

for index = 0, tonumber(ARGV[4]) - 1 do
  local offset, guard = string.match(ARGV[arg], '^(%-?%d+) ([^\n]*)\n')
  local stored = redis.call('GETRANGE', KEYS[key], 0, HEADER_BYTES - 1)
  local stored_offset, stored_guard = string.match(stored, '^(%-?%d+) ([^\n]*)\n')
  if stored_guard == guard and tonumber(stored_offset) >= tonumber(offset) then
    answer[#answer + 1] = index
  else
    redis.call('SET', KEYS[key], ARGV[arg])
  end
  key, arg = key + 1, arg + 1
end

for _ = 1, tonumber(ARGV[5]) do
  redis.call('SET', KEYS[key], ARGV[arg])
  key, arg = key + 1, arg + 1
end

for _ = 1, tonumber(ARGV[6]) do
  redis.call('HSET', KEYS[key], ARGV[arg], ARGV[arg + 1])
  key, arg = key + 1, arg + 2
end

for _ = 1, tonumber(ARGV[7]) do
  if ARGV[arg + 1] == '' then
    redis.call('ZREM', KEYS[key], ARGV[arg])
  else
    redis.call('ZADD', KEYS[key], ARGV[arg + 1], ARGV[arg])
  end
  key, arg = key + 1, arg + 2
end

redis.call('SET', KEYS[1], ARGV[2])
return answer
