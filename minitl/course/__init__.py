"""The course's exercises: files with a gap, and a grader that knows the usual mistakes.

exercises/   one file each: what is asked, a solution between two marks, and mistakes that are often made
exercise.py  the file with its gap, and variants of it
grade.py     what is wrong with an answer
ladder.py    one convolution, from seven loops to the engine
lesson.py    the page that one plays with
"""
