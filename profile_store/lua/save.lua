-- Apply one slice's writes and move its position, or touch nothing when the position or the fence is another than the caller saw.
--
-- KEYS  position, fence, then one for each write in the order of ARGV (a key may come twice)
-- ARGV  expected position ('' for none), new position, expected fence ('' when it does not matter),
--       how many documents, plain values, hash fields and timers follow;
--       then for a document: header and data; a plain value: the value; a field: name, value; a timer: member, due ('' clears it)
-- A document begins with `<offset> <guard>\n`: it is refused when the stored one has its guard and an offset that is not smaller.
-- Returns {1, refused...} with refused as indices of documents from 0; {0} when the position or the fence is another.

local HEADER_BYTES = 160

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
