-- Move the checkpoint of a topic partition on a cluster: its position, its timers and its write-ahead entry, which share one slot.
--
-- KEYS  position, write-ahead entry, timers, fence of the partition's writers
-- ARGV  'begin', expected position ('' for none), body, expected fence of the writers ('' to skip the check)
--           Store the body as the write-ahead entry. From now on the slice counts as saved, and every worker may execute the entry.
--       'finish', the entry's fence, new position, '', timers
--           Everything in the entry with this fence has been written: move the position and the timers, delete the entry.
--       'move', expected position, new position, expected fence of the writers, timers
--           For a slice that writes nothing outside this slot: check and move in one step, without an entry.
--       timers are pairs of member and due time in ms ('' clears the timer)
--
-- Stored position: `<position> <entry fence>`. Stored entry: `<entry fence> <body>`.
-- The fence of an entry is the server's time in ms, in 13 digits, and at least one more than that of the entry before. It is no
-- counter, because a counter would start again when the position is wiped, or fall back when the server loses its latest writes;
-- time does not. (The fence of the writers, KEYS[4], is another number: it is raised by fence_writers.)
--
-- Returns {1, entry fence} when done; {2, entry} when an unfinished entry must be finished first;
-- {0} when the position or the writers' fence is not the expected one, or, for 'finish', the entry was finished already.

local action, position = ARGV[1], ARGV[3]
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

if action == 'finish' then
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

local time = redis.call('TIME')  -- seconds, and microseconds within the second
local fence = math.max(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), (tonumber(stored_fence) or 0) + 1)
fence = string.format('%013.0f', fence)
if action == 'begin' then
  redis.call('SET', KEYS[2], fence .. ' ' .. ARGV[3])
else
  set_timers()
  redis.call('SET', KEYS[1], position .. ' ' .. fence)
end
return {1, fence}
