SELECT partition, max(next_offset) FROM positions WHERE topic = {topic:String} GROUP BY partition
