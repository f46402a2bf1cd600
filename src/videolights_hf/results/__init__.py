"""What was found in a video as files that one can keep: tables, captions, timelines, pages, pictures and excerpts."""
