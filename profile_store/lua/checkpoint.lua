-- A place on a cluster: its position, its timers and its write-ahead entry, in one slot.
--
-- KEYS  position, entry, timers, the fence of the place's writers
-- ARGV  'begin', expected position ('' for none), body, expected fence ('' when it does not matter)
--           keep the body as the entry: what it says is to be done from now on, whoever does it
--       'finish', the entry's fence, new position, '', timers
--           all that the entry of this fence says has been done
--       'move', expected position, new position, expected fence, timers
--           writes that touch nothing outside this slot: both at once
--       timers are member, due ('' clears it)
-- Position: `<position> <fence>`. Entry: `<fence> <body>`. A fence is a time in ms, of 13 digits, and grows with every entry of the
-- place; being a time, it also grows when the position was wiped or the server came back without its last writes.
-- Returns {1, the entry's fence}; {0} when the position or the fence of the writers is another, or the entry of this fence is no more;
-- {2, entry} when one is not finished.

local what, position = ARGV[1], ARGV[3]
local stored = redis.call('GET', KEYS[1]) or ''
local stored_position, stored_fence = string.match(stored, '^(%-?%d+) (%d+)$')

local function set_timers()
  for arg = 5, #ARGV, 2 do
    if ARGV[arg + 1] == '' then
      redis.call('ZREM', KEYS[3], ARGV[arg])
    else
      redis.call('ZADD', KEYS[3], ARGV[arg + 1], ARGV[arg])
    end
  end
end

if what == 'finish' then
  if redis.call('GETRANGE', KEYS[2], 0, 12) ~= ARGV[2] then
    return {0}
  end
  set_timers()
  redis.call('SET', KEYS[1], position .. ' ' .. ARGV[2])
  redis.call('UNLINK', KEYS[2])
  return {1, ARGV[2]}
end

local entry = redis.call('GET', KEYS[2])
if entry then
  return {2, entry}
end
if (stored_position or '') ~= ARGV[2] then
  return {0}
end
if ARGV[4] ~= '' and (redis.call('GET', KEYS[4]) or '0') ~= ARGV[4] then
  return {0}
end

local now = redis.call('TIME')
local fence = math.max(tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000), (tonumber(stored_fence) or 0) + 1)
fence = string.format('%013.0f', fence)
if what == 'begin' then
  redis.call('SET', KEYS[2], fence .. ' ' .. ARGV[3])
else
  set_timers()
  redis.call('SET', KEYS[1], position .. ' ' .. fence)
end
return {1, fence}
