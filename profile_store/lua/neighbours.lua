-- Read hashes, each as a flat list of names and values; nil for a hash that has more fields than the limit.
--
-- KEYS  the hashes
-- ARGV  the largest number of fields that is read
-- The limit is checked on the server, so a hash that has grown without bound costs its reader nothing.

local limit = tonumber(ARGV[1])
local answer = {}

for index, key in ipairs(KEYS) do
  answer[index] = redis.call('HLEN', key) <= limit and redis.call('HGETALL', key)
end

return answer
