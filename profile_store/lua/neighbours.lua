-- The fields of hashes, each as a flat list of names and values; nil for a hash with more than the wanted number of fields.
--
-- KEYS  the hashes
-- ARGV  the most fields that are wanted of one
-- So a hash that has grown without end costs its reader nothing.

local most = tonumber(ARGV[1])
local answer = {}

for index, key in ipairs(KEYS) do
  answer[index] = redis.call('HLEN', key) <= most and redis.call('HGETALL', key)
end

return answer
